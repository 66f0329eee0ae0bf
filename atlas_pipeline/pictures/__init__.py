"""Drawing: functions from arrays to pixels or picture files."""
