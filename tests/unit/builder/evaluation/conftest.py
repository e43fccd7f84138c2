from tests.unit.builder.model.conftest import backbone, parts

__all__ = ["backbone", "parts"]
