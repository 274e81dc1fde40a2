"""The parts of the admin port: settings, access, readiness, connections and pages."""
