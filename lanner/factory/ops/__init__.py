"""Operations of step process, one file each with `run(samples, work, params)` and `Params`."""
