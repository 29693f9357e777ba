"""A bare FastAPI app as a reference for the API: one INSERT or one SELECT, and nothing else."""

import json
import os
import secrets
from typing import Any

from fastapi import FastAPI
from sqlalchemy import create_engine, text

engine = create_engine(os.environ["DATABASE_URL"], pool_size=10, max_overflow=10)
app = FastAPI()


@app.post("/jobs", status_code=201)
def insert(body: dict[str, Any]) -> dict[str, Any]:
    """Insert one row in one transaction."""
    job_id = secrets.token_hex(12)
    with engine.begin() as connection:
        connection.execute(
            text("INSERT INTO bare (id, spec) VALUES (:id, CAST(:spec AS jsonb))"),
            {"id": job_id, "spec": json.dumps(body)},
        )
    return {"id": job_id, "spec": body}


@app.get("/jobs/{job_id}")
def select(job_id: str) -> dict[str, Any]:
    """Select one row by its key."""
    with engine.connect() as connection:
        row = connection.execute(text("SELECT id, spec FROM bare WHERE id = :id"), {"id": job_id}).one()
    return {"id": row.id, "spec": row.spec}
