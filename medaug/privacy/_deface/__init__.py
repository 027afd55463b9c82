"""How a face is found and taken out of a head scan: outline, brain, cut, measure, picture."""
