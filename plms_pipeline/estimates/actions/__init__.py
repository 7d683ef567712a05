"""The use cases of estimates: calibrate at night, forecast, explain."""
