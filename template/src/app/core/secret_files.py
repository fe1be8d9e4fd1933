"""Settings from files: `NAME_FILE` names a file that holds the value of NAME.

Docker and Kubernetes pass secrets this way, without showing them in the environment.
"""

from pathlib import Path

from pydantic_settings import EnvSettingsSource, SettingsError


class SecretFilesSource(EnvSettingsSource):
    """Reads the files that the environment names, for any setting.

    Raises:
        SettingsError: a file cannot be read, or the variable is set as well; the message is one
            line, without the value.
    """

    def __call__(self) -> dict[str, str]:
        return {
            name: self._read(name, path)
            for name in self.settings_cls.model_fields
            if (path := self.env_vars.get(f"{name}_FILE"))
        }

    def _read(self, name: str, path: str) -> str:
        if self.env_vars.get(name):
            raise SettingsError(f"{name} and {name}_FILE are both set: leave out one of them")
        try:
            return Path(path).read_text("utf-8").strip()
        except OSError as error:
            raise SettingsError(f"{name}_FILE: cannot read {path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise SettingsError(f"{name}_FILE: {path} is not UTF-8") from error
