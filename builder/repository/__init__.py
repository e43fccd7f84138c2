"""Model repositories: configurations from the wire contract, and their atomic publication."""

from builder.repository.config_pbtxt import (
    Accelerator,
    CudaGraph,
    DynamicBatching,
    Gpu,
    QueuePolicy,
    ensemble_config,
    from_text,
    step_config,
    to_text,
)
from builder.repository.graph import check_graph
from builder.repository.manifest import (
    DEFAULT_REPOSITORY,
    MANIFEST,
    Manifest,
    VersionRecord,
    read_manifest,
)
from builder.repository.publish import Staging, activate, check_publishable, link_file, stage

__all__ = [
    "DEFAULT_REPOSITORY",
    "MANIFEST",
    "Accelerator",
    "CudaGraph",
    "DynamicBatching",
    "Gpu",
    "Manifest",
    "QueuePolicy",
    "Staging",
    "VersionRecord",
    "activate",
    "check_graph",
    "check_publishable",
    "ensemble_config",
    "from_text",
    "link_file",
    "read_manifest",
    "stage",
    "step_config",
    "to_text",
]
