"""The ground floor: errors, configuration, jobs' words, files, plug-ins, the machine."""
