"""What the API takes and gives: Pydantic models, apart from the tables."""
