"""Tables of many shapes, for what must cope with any: DDL, and how many of 50 rows each table has
where its keys allow no more."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Shape:
    name: str
    ddl: str
    fewer: dict[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name.replace(" ", "-")


def of_types(name: str, *types: str, before: str = "") -> Shape:
    columns = ", ".join(f"c{place} {kind} NOT NULL" for place, kind in enumerate(types))
    return Shape(name, f"{before}; CREATE TABLE t (id int PRIMARY KEY, {columns})")


TYPES = [
    of_types("integers", "smallint", "integer", "bigint", "oid"),
    of_types("decimals", "numeric", "numeric(5,2)", "numeric(3,3)", "numeric(2)", "money"),
    of_types("floats", "real", "double precision"),
    of_types("strings", "text", "varchar", "varchar(3)", "char", "char(12)", '"char"', "name"),
    of_types("truth and bits", "boolean", "bit", "bit(3)", "bit(80)", "varbit", "varbit(5)"),
    of_types("moments", "date", "timestamp", "timestamptz(0)", "time", "timetz", "interval"),
    of_types("documents", "json", "jsonb", "jsonpath"),
    of_types("identifiers", "uuid", "bytea", "pg_lsn", "regclass", "regtype", "xid", "tid"),
    of_types("networks", "inet", "cidr", "macaddr", "macaddr8"),
    of_types("geometry", "point", "line", "lseg", "box", "path", "polygon", "circle"),
    of_types("full text", "tsvector", "tsquery"),
    of_types("ranges", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange"),
    of_types("multiranges", "int4multirange", "datemultirange", "nummultirange"),
    of_types("arrays", "int[]", "varchar(3)[]", "timestamptz[]", "jsonb[]", "numeric(4,1)[][]"),
    of_types(
        *("enums", "mood", "mood[]", '"Odd Mood"'),
        before="CREATE TYPE mood AS ENUM ('a', 'won''t', 'ü'); "
        "CREATE TYPE \"Odd Mood\" AS ENUM ('x')",
    ),
    of_types(
        *("domains", "email", "percent", "small", "small[]"),
        before="CREATE DOMAIN email AS text CHECK (VALUE ~ '^[^@]+@[^@]+[.][a-z]+$');"
        " CREATE DOMAIN percent AS numeric(5,2) CHECK (VALUE BETWEEN 0 AND 100);"
        " CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 0);"
        " CREATE DOMAIN small AS positive CHECK (VALUE < 10)",
    ),
    of_types(
        *("composites and own ranges", "address", "address[]", "textrange", "floatrange"),
        before="CREATE TYPE address AS (street text, number int);"
        " CREATE TYPE textrange AS RANGE (subtype = text);"
        " CREATE TYPE floatrange AS RANGE (subtype = float8)",
    ),
    of_types(
        *("extensions", "citext", "hstore", "ltree", "vector(3)", "halfvec(2)", "sparsevec(4)"),
        *("cube", "isbn13", "ean13", "seg"),
        before="CREATE EXTENSION citext; CREATE EXTENSION hstore; CREATE EXTENSION ltree;"
        "CREATE EXTENSION vector; CREATE EXTENSION cube; CREATE EXTENSION isn;"
        "CREATE EXTENSION seg",
    ),
    of_types("types nobody expects", "pg_snapshot", "int2vector", "oidvector"),
]

KEYS = [
    Shape(
        "a chain",
        """CREATE TABLE c (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
        CREATE TABLE b (id bigserial PRIMARY KEY, c_id bigint NOT NULL REFERENCES c);
        CREATE TABLE a (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), b_id bigint NOT NULL UNIQUE
            REFERENCES b, c_id bigint REFERENCES c)""",
    ),
    Shape(
        "composite keys that share a column",
        """CREATE TABLE tenant (id int PRIMARY KEY);
        CREATE TABLE person (tenant_id int REFERENCES tenant, id int, boss_id int,
            PRIMARY KEY (tenant_id, id), FOREIGN KEY (tenant_id, boss_id) REFERENCES person);
        CREATE TABLE project (tenant_id int REFERENCES tenant, id int, PRIMARY KEY (tenant_id, id));
        CREATE TABLE work (tenant_id int NOT NULL, person_id int NOT NULL, project_id int NOT NULL,
            FOREIGN KEY (tenant_id, person_id) REFERENCES person,
            FOREIGN KEY (tenant_id, project_id) REFERENCES project)""",
    ),
    Shape(
        "a tree whose rows are no parents of themselves",
        "CREATE TABLE t (id int PRIMARY KEY, parent int REFERENCES t, CHECK (parent <> id))",
    ),
    Shape(
        "a list in which each has one before it",
        "CREATE TABLE t (id int PRIMARY KEY, before int UNIQUE REFERENCES t)",
    ),
    Shape(
        "a tree without a root", "CREATE TABLE t (id int PRIMARY KEY, p int NOT NULL REFERENCES t)"
    ),
    Shape(
        "a circle",
        """CREATE TABLE a (id int PRIMARY KEY, b_id int);
        CREATE TABLE b (id int PRIMARY KEY, a_id int NOT NULL REFERENCES a);
        ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b""",
    ),
    Shape(
        "a circle that must be closed",
        """CREATE TABLE a (id int PRIMARY KEY, b_id int NOT NULL);
        CREATE TABLE b (id int PRIMARY KEY, a_id int NOT NULL REFERENCES a);
        ALTER TABLE a ADD FOREIGN KEY (b_id) REFERENCES b""",
    ),
    Shape(
        "a circle of primary keys",
        """CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY REFERENCES a);
        ALTER TABLE a ADD FOREIGN KEY (id) REFERENCES b""",
    ),
    Shape(
        "many to many",
        """CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE b (id int PRIMARY KEY CHECK (id BETWEEN 1 AND 7));
        CREATE TABLE ab (a_id int REFERENCES a, b_id int REFERENCES b, PRIMARY KEY (b_id, a_id))""",
        fewer={"b": 7},
    ),
    Shape(
        "two keys to one table that differ",
        """CREATE TABLE a (id int PRIMARY KEY);
        CREATE TABLE friend (x int NOT NULL REFERENCES a, y int NOT NULL REFERENCES a, CHECK (x < y
            OR x > y), UNIQUE (x, y))""",
    ),
    Shape(
        "unique on a foreign key and an enum",
        """CREATE TYPE kind AS ENUM ('a', 'b', 'c'); CREATE TABLE few (id boolean PRIMARY KEY);
        CREATE TABLE t (few_id boolean NOT NULL REFERENCES few, kind kind,
            UNIQUE (few_id, kind))""",
        fewer={"few": 2, "t": 6},
    ),
    Shape(
        "one row only",
        "CREATE TABLE t (id boolean PRIMARY KEY DEFAULT true CHECK (id), n int CHECK (n = 7))",
        fewer={"t": 1},
    ),
    Shape(
        "unique indexes of other kinds",
        """CREATE TABLE t (id int PRIMARY KEY, email text NOT NULL, day timestamptz NOT NULL,
            owner int NOT NULL, is_main boolean NOT NULL, code char(2) UNIQUE, note text);
        CREATE UNIQUE INDEX ON t (lower(email));
        CREATE UNIQUE INDEX ON t ((true)) WHERE is_main;
        CREATE UNIQUE INDEX ON t (owner, note) NULLS NOT DISTINCT""",
    ),
]

CONDITIONS = [
    Shape(
        "checks of one column",
        """CREATE TABLE t (id int PRIMARY KEY, age int CHECK (age >= 18 AND age < 120),
            status varchar(10) NOT NULL CHECK (status IN ('active', 'blocked')),
            code text UNIQUE NOT NULL CHECK (code ~ '^[A-Z]{2}-[0-9]{4}$'),
            name text CHECK (length(name) BETWEEN 20 AND 30), slug text CHECK (slug = lower(slug)),
            price numeric(8,2) CHECK (price > 9.99), share real CHECK (share > 0 AND share < 1),
            latitude float8 CHECK (latitude BETWEEN -90 AND 90), below int CHECK (below < 0),
            fifth int CHECK (fifth % 5 = 0 AND fifth > 0), link text CHECK (link LIKE 'https://%'),
            born date CHECK (born > '1900-01-01' AND born < '1990-01-01'),
            past timestamptz CHECK (past <= now()), mail text CHECK (position('@' IN mail) > 1),
            data jsonb CHECK (jsonb_typeof(data) = 'array'), keyed jsonb CHECK (keyed ? 'kind'),
            tags text[] CHECK (cardinality(tags) = 4), sure boolean CHECK (sure),
            colour text CHECK (colour ~ '^#[0-9a-f]{6}$'), three char(3) CHECK (three = 'EUR'))""",
    ),
    Shape(
        "checks over columns",
        """CREATE TABLE t (id int PRIMARY KEY, starts date NOT NULL, ends date NOT NULL,
            CHECK (starts < ends), low int, high int CHECK (high > low + 10),
            price numeric(10,2) NOT NULL, quantity int NOT NULL, total numeric NOT NULL,
            CHECK (total = price * quantity), state text CHECK (state IN ('open', 'closed')),
            closed_at timestamptz, CHECK ((state = 'closed') = (closed_at IS NOT NULL)),
            post_id int, page_id int, photo_id int,
            CHECK (num_nonnulls(post_id, page_id, photo_id) = 1))""",
    ),
    Shape(
        "an exclusion constraint",
        """CREATE EXTENSION btree_gist;
        CREATE TABLE room (id int PRIMARY KEY CHECK (id IN (1, 2, 3)));
        CREATE TABLE booking (room_id int NOT NULL REFERENCES room, during tstzrange NOT NULL,
            CHECK (lower(during) < upper(during)),
            EXCLUDE USING gist (room_id WITH =, during WITH &&))""",
        fewer={"room": 3},
    ),
    Shape(
        "generated columns",
        """CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY (START 1000 MINVALUE 1000),
            net numeric(8,2), gross numeric(8,2) GENERATED ALWAYS AS (net * 2) STORED UNIQUE
            CHECK (gross > 100), name text, upper_name text GENERATED ALWAYS AS (upper(name)))""",
    ),
    Shape("only generated columns", "CREATE TABLE t (a int GENERATED ALWAYS AS (1) STORED)"),
    Shape("no columns", "CREATE TABLE t ()"),
    Shape("no primary key", "CREATE TABLE t (a int, b text)"),
    Shape(
        "partitions",
        """CREATE TABLE m (id bigint GENERATED BY DEFAULT AS IDENTITY, at timestamptz, PRIMARY KEY
            (id, at)) PARTITION BY RANGE (at);
        CREATE TABLE m1 PARTITION OF m FOR VALUES FROM ('2020-01-01') TO ('2020-02-01');
        CREATE TABLE m2 PARTITION OF m FOR VALUES FROM ('2020-02-01') TO ('2020-03-01');
        CREATE TABLE l (id int, kind text NOT NULL) PARTITION BY LIST (kind);
        CREATE TABLE l1 PARTITION OF l FOR VALUES IN ('x', 'y');
        CREATE TABLE l2 PARTITION OF l FOR VALUES IN ('z') PARTITION BY HASH (id);
        CREATE TABLE l21 PARTITION OF l2 FOR VALUES WITH (MODULUS 1, REMAINDER 0);
        CREATE TABLE d (id int PRIMARY KEY) PARTITION BY RANGE (id);
        CREATE TABLE d1 PARTITION OF d DEFAULT;
        CREATE TABLE to_d (id int REFERENCES d)""",
    ),
    Shape(
        "odd names",
        """CREATE SCHEMA "Other Schema"; CREATE TABLE "Other Schema"."T ""q"" 't'" (
            "Id" int PRIMARY KEY, "select" text UNIQUE CHECK ("select" <> ''), "a b$1:x%" int,
            "ü" int REFERENCES "Other Schema"."T ""q"" 't'");
        CREATE TABLE "user" ("order" int REFERENCES "Other Schema"."T ""q"" 't'")""",
    ),
    Shape(
        "types of another schema",
        """CREATE SCHEMA app; CREATE TYPE app.mood AS ENUM ('a', 'b');
        CREATE DOMAIN app.code AS varchar(5) CHECK (VALUE ~ '^x');
        CREATE TABLE app.t (mood app.mood NOT NULL, code app.code NOT NULL UNIQUE)""",
    ),
    Shape(
        "functions in checks",
        """CREATE FUNCTION is_even(int) RETURNS boolean LANGUAGE sql IMMUTABLE
            AS 'SELECT $1 % 2 = 0'; CREATE TABLE t (n int UNIQUE NOT NULL CHECK (is_even(n)))""",
    ),
    Shape(
        "inheritance",
        "CREATE TABLE p (id int PRIMARY KEY); CREATE TABLE c (extra text NOT NULL) INHERITS (p)",
    ),
]

SHAPES = [*TYPES, *KEYS, *CONDITIONS]
