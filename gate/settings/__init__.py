"""Every knob, and the only reader of the environment.

A setting comes from the environment, as `GATE_` and its name in capitals, or from the YAML file
that GATE_CONFIG_FILE names; the environment wins. Parts of a setting follow two underscores:
GATE_AGENTS__USERS. A list in the environment is one value, or a JSON list.
"""
