"""Stages that measure tuning: responses to synthetic stimuli, families, real patches rotated, figures."""
