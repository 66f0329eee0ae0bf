"""What the commands do: a config becomes steps, their needs are checked, the engine makes what is missing."""
