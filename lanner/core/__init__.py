"""lanner/core"""
