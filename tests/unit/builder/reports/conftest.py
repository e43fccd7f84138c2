from tests.unit.builder.data.conftest import write
from tests.unit.builder.model.conftest import backbone, log, parts

__all__ = ["backbone", "log", "parts", "write"]
