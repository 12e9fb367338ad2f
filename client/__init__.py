"""The program on the user's machine: speaks with the appliance over Pipecat's protobuf wire."""
