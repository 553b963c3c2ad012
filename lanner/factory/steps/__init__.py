"""lanner/factory/steps"""
