"""The steps of the factory, one package each with a function `run(project) -> Outcome`."""
