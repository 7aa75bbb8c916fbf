"""The adapters of gate.postgres against real servers, the oldest supported and the newest."""
