"""lanner/client"""
