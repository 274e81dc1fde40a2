"""The service under attack: what others notice, and what server and gateway need for it.

``python -m bench.siege`` makes each attack of `bench.siege.catalogue` for a few seconds, on a server and a gateway of
its own. A light, steady load of another project goes on meanwhile, and was measured right before. Attacks and load
come from processes on one core, the attacker with low priority; everything under attack shares the other core.
Everything is on 127.0.0.1 and was started by this program.
"""
