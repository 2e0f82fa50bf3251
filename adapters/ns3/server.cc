// A packet-level network that is told line by line what to carry (adapters/ns3/model.py speaks to it).
//
//   set ATTRIBUTE VALUE            an ns-3 default, before the first node
//   nodes N
//   link A B BPS BPS PS            both ways between two nodes: rate there, rate back, delay
//   route NODE DEVICE LINK END     towards DEVICE, leave NODE by that end (0 or 1) of that link
//   pair SRC DST                   a connection that is open before time 0
//   begin                          = ok
//   op ID AT_PS (SRC DST BYTES AFTER)...   messages; AFTER: index of the one whose arrival it waits for, or -1
//   run PS STOP                    = NOW BOUND (ID PS)...   up to PS, or the first end if STOP
//   events                         = how many were simulated
//
// BOUND: nothing ends before it unless something new comes; 0 if nothing is in progress. A line it cannot
// do is answered with "! why".
#include <algorithm>
#include <deque>
#include <iostream>
#include <map>
#include <memory>
#include <sstream>
#include <vector>

#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"

using namespace ns3;

namespace {

constexpr uint16_t kPort = 5000;
constexpr uint32_t kWrite = 1 << 20;  // bytes offered to a socket at once

// ns-3's own event list, which can be asked for its next event.
class OpenScheduler : public MapScheduler {
 public:
  static TypeId GetTypeId() {
    static TypeId id = TypeId("metronome::OpenScheduler").SetParent<MapScheduler>().AddConstructor<OpenScheduler>();
    return id;
  }
  OpenScheduler() { current = this; }
  static OpenScheduler* current;
};
OpenScheduler* OpenScheduler::current = nullptr;

struct LinkEnds {
  uint32_t node[2];
  uint32_t interface[2];
  uint64_t bps[2];  // away from each end
  int64_t delay;
};

struct Message {
  uint64_t op;
  uint32_t src, dst;
  int64_t unsent, left;
  std::vector<size_t> next;  // messages that wait for this one
};

struct Operation {
  std::vector<Message> messages;
  size_t open;
  bool started = false;
  int64_t at;
};

struct Connection {
  uint32_t src, dst;
  Ptr<Socket> socket;
  bool open = false;
  std::deque<Message*> queue;  // of one operation, in order of arrival
};

std::vector<Ptr<Node>> nodes;
std::vector<LinkEnds> links;
std::map<std::pair<uint32_t, uint32_t>, std::pair<uint32_t, uint32_t>> routes;  // (node, device) -> (link, end)
std::map<std::pair<uint32_t, uint32_t>, std::vector<std::unique_ptr<Connection>>> connections;
std::map<std::pair<uint32_t, uint16_t>, Connection*> by_peer;  // (address, port) of the sender
std::map<uint64_t, Operation> operations;
std::vector<std::pair<uint64_t, int64_t>> ended;
int64_t origin = 0;  // ns-3's time of our time 0
bool stop_at_first = false;

int64_t Now() { return Simulator::Now().GetPicoSeconds() - origin; }

Ipv4Address AddressOf(uint32_t device) { return Ipv4Address(0x0b000001u + device); }

void Start(uint64_t id);
void Send(Message* message);

void Arrived(Connection* connection, int64_t bytes) {
  while (bytes > 0 && !connection->queue.empty()) {
    Message* message = connection->queue.front();
    int64_t part = std::min(bytes, message->left);
    message->left -= part;
    bytes -= part;
    if (message->left) return;
    connection->queue.pop_front();
    Operation& operation = operations.at(message->op);
    for (size_t next : message->next) Send(&operation.messages[next]);
    if (--operation.open == 0) {
      ended.push_back({message->op, Now()});
      operations.erase(message->op);
      if (stop_at_first) Simulator::Stop();
    }
  }
}

void OnReceive(Ptr<Socket> socket) {
  Address from;
  socket->GetPeerName(from);
  InetSocketAddress peer = InetSocketAddress::ConvertFrom(from);
  Connection* connection = by_peer.at({peer.GetIpv4().Get(), peer.GetPort()});
  int64_t bytes = 0;
  while (Ptr<Packet> packet = socket->Recv()) {
    if (packet->GetSize() == 0) break;
    bytes += packet->GetSize();
  }
  Arrived(connection, bytes);
}

void OnAccept(Ptr<Socket> socket, const Address&) { socket->SetRecvCallback(MakeCallback(&OnReceive)); }

void Fill(Connection* connection) {
  for (Message* message : connection->queue) {
    while (connection->open && message->unsent > 0) {
      int64_t room = connection->socket->GetTxAvailable();
      int64_t part = std::min({message->unsent, room, int64_t{kWrite}});
      if (part <= 0 || connection->socket->Send(Create<Packet>(part)) < 0) return;
      message->unsent -= part;
    }
  }
}

Connection* Connect(uint32_t src, uint32_t dst) {
  auto& pool = connections[{src, dst}];
  pool.push_back(std::make_unique<Connection>());
  Connection* connection = pool.back().get();
  connection->src = src;
  connection->dst = dst;
  Ptr<Socket> socket = connection->socket = Socket::CreateSocket(nodes[src], TcpSocketFactory::GetTypeId());
  socket->Bind(InetSocketAddress(AddressOf(src), 0));
  socket->SetConnectCallback(Callback<void, Ptr<Socket>>([connection](Ptr<Socket>) {
                               connection->open = true;
                               Fill(connection);
                             }),
                             MakeNullCallback<void, Ptr<Socket>>());
  socket->SetSendCallback(
      Callback<void, Ptr<Socket>, uint32_t>([connection](Ptr<Socket>, uint32_t) { Fill(connection); }));
  socket->Connect(InetSocketAddress(AddressOf(dst), kPort));
  Address own;
  socket->GetSockName(own);
  by_peer[{AddressOf(src).Get(), InetSocketAddress::ConvertFrom(own).GetPort()}] = connection;
  return connection;
}

void Send(Message* message) {
  Connection* chosen = nullptr;
  for (auto& connection : connections[{message->src, message->dst}])
    if (connection->queue.empty() || connection->queue.front()->op == message->op) {
      chosen = connection.get();
      break;
    }
  if (!chosen) chosen = Connect(message->src, message->dst);
  chosen->queue.push_back(message);
  Fill(chosen);
}

void Start(uint64_t id) {
  Operation& operation = operations.at(id);
  operation.started = true;
  std::vector<bool> waits(operation.messages.size());
  for (auto& message : operation.messages)
    for (size_t next : message.next) waits[next] = true;
  for (size_t i = 0; i < operation.messages.size(); ++i)
    if (!waits[i]) Send(&operation.messages[i]);
}

// Nothing ends but in an event; and what has not arrived must still leave by the last link, but for what is
// under way on it.
int64_t Bound() {
  if (operations.empty()) return 0;
  int64_t soonest = 1;
  if (!OpenScheduler::current->IsEmpty())
    soonest = OpenScheduler::current->PeekNext().key.m_ts - Simulator::Now().GetTimeStep();
  int64_t earliest = 0;
  std::map<uint64_t, int64_t> of;
  for (auto& [pair, pool] : connections) {
    for (auto& connection : pool) {
      if (connection->queue.empty()) continue;
      uint32_t node = pair.first;
      std::pair<uint32_t, uint32_t> way;
      while (node != pair.second) {
        way = routes.at({node, pair.second});
        node = links[way.first].node[1 - way.second];
      }
      const LinkEnds& last = links[way.first];
      const Message* message = connection->queue.front();
      int64_t time = message->left * 8e12 / last.bps[way.second] - last.delay;
      int64_t& most = of[message->op];
      most = std::max(most, time);
    }
  }
  for (auto& [id, operation] : operations) {
    int64_t time = operation.started ? Now() + std::max<int64_t>({1, soonest, of[id]}) : std::max(operation.at, Now()) + 1;
    if (!earliest || time < earliest) earliest = time;
  }
  return earliest;
}

void AddNodes(uint32_t count) {
  InternetStackHelper stack;
  Ipv4StaticRoutingHelper routing;
  stack.SetRoutingHelper(routing);
  for (uint32_t i = 0; i < count; ++i) {
    Ptr<Node> node = CreateObject<Node>();
    stack.Install(node);
    nodes.push_back(node);
  }
}

uint32_t AddInterface(Ptr<Node> node, Ptr<NetDevice> device, Ipv4Address address) {
  Ptr<Ipv4> ipv4 = node->GetObject<Ipv4>();
  uint32_t interface = ipv4->AddInterface(device);
  ipv4->AddAddress(interface, Ipv4InterfaceAddress(address, Ipv4Mask::GetOnes()));
  ipv4->SetMetric(interface, 1);
  ipv4->SetUp(interface);
  return interface;
}

void AddLink(std::istream& in) {
  LinkEnds link;
  in >> link.node[0] >> link.node[1] >> link.bps[0] >> link.bps[1] >> link.delay;
  PointToPointHelper helper;
  helper.SetChannelAttribute("Delay", TimeValue(PicoSeconds(link.delay)));
  NetDeviceContainer devices = helper.Install(nodes[link.node[0]], nodes[link.node[1]]);
  for (int end = 0; end < 2; ++end) {
    devices.Get(end)->SetAttribute("DataRate", DataRateValue(DataRate(link.bps[end])));
    link.interface[end] = AddInterface(nodes[link.node[end]], devices.Get(end), AddressOf(link.node[end]));
  }
  links.push_back(link);
}

void AddRoute(std::istream& in) {
  uint32_t node, device, link, end;
  in >> node >> device >> link >> end;
  routes[{node, device}] = {link, end};
  Ipv4StaticRoutingHelper helper;
  helper.GetStaticRouting(nodes[node]->GetObject<Ipv4>())
      ->AddHostRouteTo(AddressOf(device), links[link].interface[end]);
}

void Begin(const std::vector<std::pair<uint32_t, uint32_t>>& pairs) {
  for (auto& node : nodes) {
    Ptr<Socket> listener = Socket::CreateSocket(node, TcpSocketFactory::GetTypeId());
    listener->Bind(InetSocketAddress(Ipv4Address::GetAny(), kPort));
    listener->Listen();
    listener->SetAcceptCallback(MakeNullCallback<bool, Ptr<Socket>, const Address&>(), MakeCallback(&OnAccept));
  }
  for (auto& [src, dst] : pairs) Connect(src, dst);
  Simulator::Stop(Seconds(1));
  Simulator::Run();
  // The window a handshake announces is a small one: a first packet each brings the real one.
  for (auto& [pair, pool] : connections)
    for (auto& connection : pool) connection->socket->Send(Create<Packet>(1));
  Simulator::Stop(Seconds(1));
  Simulator::Run();
  origin = Simulator::Now().GetPicoSeconds();
  for (auto& [pair, pool] : connections)
    for (auto& connection : pool)
      if (!connection->open) throw std::runtime_error("a connection could not be made");
}

void AddOperation(std::istream& in) {
  uint64_t id;
  int64_t at;
  in >> id >> at;
  Operation operation;
  operation.at = at;
  Message message;
  int64_t after;
  std::vector<int64_t> waits;
  while (in >> message.src >> message.dst >> message.unsent >> after) {
    message.op = id;
    message.left = message.unsent;
    operation.messages.push_back(message);
    waits.push_back(after);
  }
  for (size_t i = 0; i < waits.size(); ++i)
    if (waits[i] >= 0) operation.messages[waits[i]].next.push_back(i);
  operation.open = operation.messages.size();
  if (operation.messages.empty() || at < Now()) throw std::runtime_error("an operation of nothing, or of the past");
  operations.emplace(id, std::move(operation));
  Simulator::Schedule(PicoSeconds(at - Now()), &Start, id);
}

void Run(int64_t until, bool stop) {
  stop_at_first = stop;
  ended.clear();
  EventId guard = Simulator::Schedule(PicoSeconds(until - Now()), static_cast<void (*)()>(&Simulator::Stop));
  Simulator::Run();
  guard.Cancel();
  // What happens at the same instant because of what happened there.
  for (int i = 0; i < 4 && Now() == until && !(stop && !ended.empty()); ++i) {
    EventId end = Simulator::ScheduleNow(static_cast<void (*)()>(&Simulator::Stop));
    Simulator::Run();
    end.Cancel();
  }
  std::cout << "= " << Now() << " " << Bound();
  for (auto& [id, time] : ended) std::cout << " " << id << " " << time;
  std::cout << std::endl;
}

}  // namespace

int main() {
  Time::SetResolution(Time::PS);
  ObjectFactory scheduler;
  scheduler.SetTypeId(OpenScheduler::GetTypeId());
  Simulator::SetScheduler(scheduler);
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  std::string line;
  while (std::getline(std::cin, line)) {
    std::istringstream in(line);
    std::string word;
    in >> word;
    try {
      if (word == "set") {
        std::string name, value;
        in >> name >> value;
        if (!Config::SetDefaultFailSafe(name, StringValue(value))) throw std::runtime_error(name + " = " + value);
      } else if (word == "nodes") {
        uint32_t count;
        in >> count;
        AddNodes(count);
      } else if (word == "link") {
        AddLink(in);
      } else if (word == "route") {
        AddRoute(in);
      } else if (word == "pair") {
        uint32_t src, dst;
        in >> src >> dst;
        pairs.push_back({src, dst});
      } else if (word == "begin") {
        Begin(pairs);
        std::cout << "= ok" << std::endl;
      } else if (word == "op") {
        AddOperation(in);
      } else if (word == "run") {
        int64_t until;
        bool stop;
        in >> until >> stop;
        Run(until, stop);
      } else if (word == "events") {
        std::cout << "= " << Simulator::GetEventCount() << std::endl;
      } else {
        throw std::runtime_error("no such command: " + word);
      }
    } catch (const std::exception& error) {
      std::cout << "! " << error.what() << std::endl;
    }
  }
  return 0;
}
