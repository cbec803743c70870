"""What a service says of its messages, as an AsyncAPI document that is generated from its code."""

from kit.asyncapi.specification import VERSION, Document, ServiceSpecification, document

__all__ = ["VERSION", "Document", "ServiceSpecification", "document"]
