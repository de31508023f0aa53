"""ReactiveX building blocks: observables, delivery, event loops, waiting, operators."""
