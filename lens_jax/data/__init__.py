"""Where images come from: sources of records, decoding and batches."""
