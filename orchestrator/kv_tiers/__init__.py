"""K and V off the devices: which pools a scenario has and who uses them; engines and pools put together."""
