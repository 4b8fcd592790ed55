"""What a node may do at a destination: operators' word, the site's, and its part among nodes."""

from netsvc.delivery.allowances import GROW_S, MOST_KNOWN, Allowances, Allowed
from netsvc.settings import DeliverySettings, DestinationSettings
from tests.delivery.fakes import FakeSite

NOW = 10**12


class Steering:
    """IDestinations in memory."""

    def __init__(self, node=1, nodes=(1,)):
        self.node, self.nodes, self.limits, self.watchers = node, nodes, {}, []

    def watch(self, callback):
        self.watchers.append(callback)

    def change(self, **what):
        for name, value in what.items():
            setattr(self, name, value)
        for callback in self.watchers:
            callback()


class World:
    def __init__(self, steering=None, **said):
        self.now, self.steady, self.steering = NOW, 0.0, steering
        self.site = FakeSite(delivery=DeliverySettings(connections=20, messages=50), destinations=said)
        self.known = Allowances(self.site, steering, lambda: self.now, lambda: self.steady)

    def of(self, key="example.org"):
        return self.known.of(key)


def test_the_site_says():
    world = World(
        **{"example.org": DestinationSettings(connections=3, rate=(9, 1000)), "*": DestinationSettings(messages=7)}
    )
    assert world.of() == Allowed(3, 50, (9, 1000))
    assert world.of("other.example") == Allowed(20, 7)
    assert world.of() is world.of()


def test_operators_come_first_until_their_time_is_over():
    steering = Steering()
    world = World(steering, **{"example.org": DestinationSettings(connections=3, messages=5)})
    assert world.of() == Allowed(3, 5)
    steering.change(limits={"example.org": (DestinationSettings(connections=30, rate=(5, 1000)), NOW + 100)})
    assert world.of() == Allowed(30, 5, (5, 1000))
    world.known.look()
    assert world.of().connections == 30
    world.now += 100
    world.known.look()
    assert world.of() == Allowed(3, 5)
    steering.change(limits={"example.org": (DestinationSettings(connections=1), 0)})
    assert world.of().connections == 1
    world.now += 10**9
    world.known.look()
    assert world.of().connections == 1


def test_nodes_divide():
    worlds = [World(Steering(node, (1, 2, 3))) for node in (1, 2, 3)]
    said = DestinationSettings(connections=7, rate=(20, 1000))
    for world in worlds:
        world.site.current.destinations["example.org"] = said
        world.site.current.destinations["one.example"] = DestinationSettings(connections=1)
    shares = [world.of() for world in worlds]
    assert sum(share.connections for share in shares) == 7
    assert sum(share.rate[0] for share in shares) == 20
    assert sorted(share.first for share in shares) == [False, False, True]
    assert not any(share.alone for share in shares)
    one = [world.of("one.example") for world in worlds]
    assert sorted(share.connections for share in one) == [0, 0, 1]
    assert [share.alone for share in one] == [bool(share.connections) for share in one]


def test_what_a_node_left_is_taken_over_a_little_later():
    steering = Steering(1, (1, 2))
    world = World(steering, **{"example.org": DestinationSettings(rate=(30, 1000))})
    assert (world.of().connections, world.of().rate) == (10, (15, 1000))
    steering.change(nodes=(1,))
    assert (world.of().connections, world.of().rate) == (10, (15, 1000))
    steering.change(nodes=(1, 2, 3))
    assert world.of().connections in {6, 7}  # less is obeyed at once
    steering.change(nodes=(1,))
    world.steady += GROW_S
    world.known.look()
    assert (world.of().connections, world.of().rate) == (20, (30, 1000))


def test_memory_is_bounded():
    world = World()
    for n in range(MOST_KNOWN + 1):
        world.of(f"d{n}.example")
    assert len(world.known._known) == 1
