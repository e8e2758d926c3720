"""What this machine is called, by its own files."""

from pathlib import Path

from proxy.system.host_names import led_here, own_names


def test_the_kernels_name_counts_with_all_that_the_files_call_it(tmp_path: Path) -> None:
    hosts, resolver = tmp_path / "hosts", tmp_path / "resolv.conf"
    hosts.write_text(
        "127.0.0.1 localhost\n127.0.1.1\tCache.Site.example cache images  # us\n192.0.2.9 other.example\n"
    )
    resolver.write_text("nameserver 192.0.2.1\nsearch lab.example site.example.\n# search evil.example\n")
    assert own_names(hosts, resolver, "Cache") == {
        "cache",
        "cache.site.example",
        "images",
        "cache.lab.example",
    }


def test_without_the_files_there_is_the_kernels_name(tmp_path: Path) -> None:
    assert own_names(tmp_path / "none", tmp_path, "cache.site.example.") == {"cache", "cache.site.example"}
    assert own_names()


def test_names_that_the_machine_leads_to_itself_are_found(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost Images.maas.io\n192.0.2.9 other.example\n::1 six.example\n")
    wanted = ("images.maas.io.", "OTHER.example", "six.example", "none.example")
    assert list(led_here(wanted, hosts)) == [("images.maas.io", "127.0.0.1"), ("six.example", "::1")]
