"""Trainings that are killed at random moments, and what they end as."""
