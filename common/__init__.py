"""Ground that every floor stands on: errors, files, tensors, versions, processes, intervals."""
