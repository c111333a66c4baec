"""The loop: rounds, their stages, their monitors and the controller. Start reading at `rlaif.loop.rounds`."""
