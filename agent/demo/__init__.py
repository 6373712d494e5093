"""The demo's story on a fresh local world, each step checked."""
