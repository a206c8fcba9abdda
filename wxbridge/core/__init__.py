"""What everything else is built of: values, errors, the database, HTTP, logging, texts."""
