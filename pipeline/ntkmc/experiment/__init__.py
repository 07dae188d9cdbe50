"""An experiment as data: the study, the address of every draw, a trial, the store and what follows from it."""
