"""The operator's pages: server-rendered, kept alive by events, with charts as islands."""

from cloud.web.pages import mount

__all__ = ["mount"]
