"""Starts, watches and restarts the processes, and exposes their metrics.

boot               the first process: the seal, supervisord, the exit code
seal_check         checks the seal at start
supervisord        runs supervisord
supervisor_client  asks supervisord for the state of its programs
guard              restarts unhealthy processes, or stops the appliance
events             supervisord's event protocol, by which the guard is told
observe            whether a process answers, and its memory
symptoms           what is wrong with it
policy             what to do about it: the table of decisions
gpu_watch          whether a GPU is lost
terminate          ends a process and its children
exporter           the metrics of all processes on one page
metrics            its own: processes, the seal, decisions, GPUs
health             the health check of the container engine
"""
