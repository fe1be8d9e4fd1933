"""What every part of the service stands on: settings, the database, the application factory."""
