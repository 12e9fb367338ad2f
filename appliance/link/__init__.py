"""The engine link: one small protocol between the gateway and the model processes."""
