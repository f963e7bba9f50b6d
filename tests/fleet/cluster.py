"""ZooKeeper and two ClickHouse nodes on the loopback, each wire between them a proxy that can be cut."""

import json
import os
import pathlib
import urllib.error
import urllib.parse
import urllib.request

from engines import environment
from processes import Process, free_port, wait_until
from proxy import Loop, Proxy

CLUSTER = "fleet"
USER, DATABASE = "writer", "traces"

JARS = ["zookeeper", "zookeeper-jute", "slf4j-api", "metrics-core", "snappy-java", "commons-cli", "commons-io",
        "jackson-annotations", "jackson-core", "jackson-databind", "findbugs-annotations", "netty-buffer",
        "netty-common", "netty-handler", "netty-transport", "netty-transport-native-epoll", "netty-resolver",
        "netty-codec", "netty-transport-native-unix-common"]


class ZooKeeper:
    def __init__(self, root: pathlib.Path, folder: pathlib.Path) -> None:
        self.port = free_port()
        (folder / "data").mkdir(parents=True)
        (folder / "zoo.cfg").write_text(
            f"tickTime=1000\nclientPort={self.port}\nclientPortAddress=127.0.0.1\ndataDir={folder}/data\n"
            "admin.enableServer=false\nmaxClientCnxns=0\n4lw.commands.whitelist=ruok\n")
        places = [root / "usr/share/java", pathlib.Path("/usr/share/java")]
        jars = [str(place / f"{jar}.jar") for jar in JARS for place in places]
        self.process = Process("zookeeper", ["java", "-Xmx256m", "-cp", ":".join(jars),
                                             "org.apache.zookeeper.server.quorum.QuorumPeerMain", "zoo.cfg"],
                               folder, environment(root))

    def start(self) -> None:
        self.process.start()


class Node:
    """One ClickHouse server. `number` is 1 or 2; others reach it at 127.0.0.1N, which is a proxy."""

    def __init__(self, number: int, root: pathlib.Path, folder: pathlib.Path, password: str) -> None:
        self.number, self.folder, self.password = number, folder, password
        self.http, self.tcp, self.interserver = free_port(), free_port(), free_port()
        self.outside = f"127.0.0.1{number}"
        folder.mkdir(parents=True)
        self.process = Process("clickhouse", [root / "usr/sbin/clickhouse-server", "--config-file=config.xml"], folder,
                               environment(root))

    def configure(self, zookeeper_port: int, peers: "list[Node]", shards: int) -> None:
        """`shards` 1: both nodes hold the same; 2: each node is a shard of its own."""
        replicas = [f"<replica><host>{peer.outside}</host><port>{peer.tcp}</port><user>{USER}</user>"
                    f"<password>{self.password}</password></replica>" for peer in peers]
        inner = "<internal_replication>true</internal_replication>"
        if shards == 1:
            cluster = f"<shard>{inner}{''.join(replicas)}</shard>"
        else:
            cluster = "".join(f"<shard>{inner}{replica}</shard>" for replica in replicas)
        shard = self.number if shards == 2 else 1
        (self.folder / "config.xml").write_text(f"""<yandex>
<logger><level>information</level><log>{self.folder}/server.log</log><errorlog>{self.folder}/error.log</errorlog><size>50M</size><count>2</count></logger>
<listen_host>127.0.0.1</listen_host>
<http_port>{self.http}</http_port><tcp_port>{self.tcp}</tcp_port>
<interserver_http_port>{self.interserver}</interserver_http_port><interserver_http_host>{self.outside}</interserver_http_host>
<path>{self.folder}/data/</path><tmp_path>{self.folder}/tmp/</tmp_path><user_files_path>{self.folder}/files/</user_files_path>
<users_config>users.xml</users_config><default_profile>default</default_profile><default_database>default</default_database>
<mark_cache_size>50000000</mark_cache_size><uncompressed_cache_size>0</uncompressed_cache_size>
<max_concurrent_queries>100</max_concurrent_queries><keep_alive_timeout>10</keep_alive_timeout><timezone>UTC</timezone>
<zookeeper><node index="1"><host>127.0.0.1</host><port>{zookeeper_port}</port></node><session_timeout_ms>6000</session_timeout_ms></zookeeper>
<macros><shard>{shard}</shard><replica>node{self.number}</replica></macros>
<remote_servers><{CLUSTER}>{cluster}</{CLUSTER}></remote_servers>
<distributed_ddl><path>/clickhouse/task_queue/ddl</path></distributed_ddl>
</yandex>
""")
        (self.folder / "users.xml").write_text(f"""<yandex>
<profiles><default><max_memory_usage>2000000000</max_memory_usage></default><reader><readonly>1</readonly></reader></profiles>
<users>
<{USER}><password>{self.password}</password><networks><ip>127.0.0.0/8</ip></networks><profile>default</profile><quota>default</quota></{USER}>
<reader><password>{self.password}</password><networks><ip>127.0.0.0/8</ip></networks><profile>reader</profile><quota>default</quota></reader>
</users>
<quotas><default/></quotas>
</yandex>
""")

    def ask(self, query: str, seconds: float = 60) -> str:
        """What the node itself answers, by a wire that is never cut."""
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}/", data=query.encode(), method="POST",
                                         headers={"X-ClickHouse-User": USER, "X-ClickHouse-Key": self.password})
        try:
            with urllib.request.urlopen(request, timeout=seconds) as answer:
                return answer.read().decode().strip()
        except urllib.error.HTTPError as error:
            raise RuntimeError(f"node {self.number}: {query[:200]}: {error.read().decode(errors='replace')[:1000]}") from error

    def rows(self, query: str) -> list[dict]:
        return [json.loads(line) for line in self.ask(f"{query} FORMAT JSONEachRow").splitlines()]

    def number_of(self, query: str) -> int:
        return int(self.ask(query))

    def start(self) -> None:
        self.process.start()

    def wait(self) -> None:
        def answers() -> bool:
            if not self.process.is_up():
                raise SystemExit(f"node {self.number} ended:\n{self.process.tail()}\n"
                                 + (self.folder / "error.log").read_text(errors="replace")[-3000:])
            return self.ask("SELECT 1", 2) == "1"
        wait_until(f"node {self.number} answers", 60, answers)


class Cluster:
    """All of it. A context: what was started is ended, by pid."""

    def __init__(self, root: pathlib.Path, folder: pathlib.Path, shards: int = 1) -> None:
        self.password = os.urandom(9).hex()
        self.zookeeper = ZooKeeper(root, folder / "zookeeper")
        self.nodes = [Node(number, root, folder / f"node{number}", self.password) for number in (1, 2)]
        loop = Loop()
        outside = "127.0.0.13"
        self.to_zookeeper = [Proxy(("127.0.0.1", free_port()), ("127.0.0.1", self.zookeeper.port), loop) for _ in (1, 2)]
        # What clients and the other node reach: the same ports at another address.
        self.to_node = [Proxy((node.outside, node.http), ("127.0.0.1", node.http), loop) for node in self.nodes]
        self.between = [Proxy((node.outside, port), ("127.0.0.1", port), loop)
                        for node in self.nodes for port in (node.interserver, node.tcp)]
        for node, wire in zip(self.nodes, self.to_zookeeper):
            node.configure(wire.listen[1], self.nodes, shards)

    def urls(self) -> list[str]:
        return [f"http://{node.outside}:{node.http}" for node in self.nodes]

    def wires(self) -> list[Proxy]:
        return [*self.to_node, *self.to_zookeeper, *self.between]

    def __enter__(self) -> "Cluster":
        try:
            self.zookeeper.start()
            for node in self.nodes:
                node.start()
            for node in self.nodes:
                node.wait()
                wait_until("ZooKeeper answers", 60,
                           lambda node=node: node.number_of("SELECT count() FROM system.zookeeper WHERE path = '/'") > 0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_) -> None:
        for process in [*(node.process for node in self.nodes), self.zookeeper.process]:
            process.kill()
