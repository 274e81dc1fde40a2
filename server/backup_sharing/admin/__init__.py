"""Commands for operators: the demo, tokens, migrations, copies and imports."""
