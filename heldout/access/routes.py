"""Paths of the API that several parts name."""


def get_model_route(source_id: str) -> str:
    """Where the model of a job, or the ensemble of a study, is asked for."""
    return f"/v1/{'studies' if source_id.startswith('std_') else 'jobs'}/{source_id}/model"
