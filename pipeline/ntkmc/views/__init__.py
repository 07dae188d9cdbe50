"""Tables, figures and reports of a results tree."""
