"""show health: what the node knows of its own condition, for people and machines."""


class Vitals:
    def rows(self):
        return [
            {"name": "disk-free", "state": "full", "value": 5, "limit": 9, "unit": "octets", "why": "mail is refused"},
            {"name": "memory", "value": 7, "most": 8, "unit": "octets"},
        ]


def test_rows(desk):
    desk.service.vitals = Vitals()
    shown = desk.type("show health")
    assert "disk-free  full" in shown
    assert "mail is refused" in shown
    first, second = (each["row"] for each in desk.machine("show health") if "row" in each)
    assert first == {
        "name": "disk-free",
        "state": "full",
        "value": 5,
        "limit": 9,
        "most": None,
        "count": None,
        "unit": "octets",
        "why": "mail is refused",
        "node": "mx1.example.org",
    }
    assert (second["state"], second["why"], second["most"]) == ("ok", None, 8)


def test_a_node_that_is_not_watched(desk):
    desk.service.vitals = None
    assert "does not look after itself" in desk.type("show health")
