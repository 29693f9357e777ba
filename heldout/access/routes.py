"""API paths that several parts use."""


def get_model_route(source_id: str) -> str:
    """The path of a job's model or a study's ensemble."""
    return f"/v1/{'studies' if source_id.startswith('std_') else 'jobs'}/{source_id}/model"
