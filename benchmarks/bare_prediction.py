"""A bare FastAPI app to compare predictions with: it takes the same body, looks at nothing, and returns a constant."""

from typing import Any

from fastapi import FastAPI, Request

TOP = [{"label": str(index), "index": index, "probability": 0.1} for index in range(5)]
ONE = {"name": None, "answer": "7", "uncertain": False, "probability": 0.1, "top": TOP}
app = FastAPI()


@app.post("/predict")
async def constant(request: Request) -> dict[str, Any]:
    """As large an answer as one image has."""
    await request.body()
    return {
        "object": "predictions",
        "job_id": "job_01m883jmbp1tdyjpj3a2hahyys",
        "weights_sha256": "0" * 64,
        "temperature": None,
        "threshold": None,
        "predictions": [ONE],
    }
