"""The client: talks with the appliance from a user's machine, over Pipecat's protobuf wire."""
