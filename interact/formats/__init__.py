"""What is written: files whole or not at all, the schema of a study's store, HTML fragments for notebooks."""
