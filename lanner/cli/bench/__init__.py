"""How fast a detector is on this machine, and how much of the time its networks need.

`run` is what a front end calls. Every measurement (`job.Job`) is taken in a process of its own
(`worker`), so that memory and threads are that run's alone; `rows` makes medians of the repeats,
`bars` says which of the project's bars they hold.
"""
