"""The schema that the gateway serves: services, rules and options of a descriptor set."""
