"""The engine link: one small protocol between the gateway and the model processes.

engine     the contract: what an engine implements, and the types that both ends share
protocol   the messages
client     the gateway's end: a session with an engine
server     the engine's end: sockets, requests, the life of an engine process
utterance  the speech of a turn, as the gateway keeps it
recovery   repeats a request until a lost engine is back
health     asks a process for its health
"""
