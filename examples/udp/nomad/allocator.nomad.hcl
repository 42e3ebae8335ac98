# The allocator on one node: it takes datagrams in on port 5005, reads metrics from InfluxDB, and spreads datagrams over
# the instances of a Nomad service. Nomad 1.5 or later.
#
#   nomad var put nomad/jobs/allocator influx_token=...     (a job of another name: nomad/jobs/NAME)
#   nomad job run -var service=udp-client allocator.nomad.hcl

variable "address" {
  type        = string
  description = "the node that senders know"
  default     = "192.168.56.4"
}

variable "influxdb" {
  type        = string
  description = "InfluxDB 2.x"
  default     = "http://192.168.56.4:8086"
}

variable "org" {
  type    = string
  default = "YourOrgName"
}

variable "bucket" {
  type    = string
  default = "YourBucketName"
}

variable "nomad" {
  type        = string
  description = "Nomad's HTTP API"
  default     = "http://192.168.56.4:4646"
}

variable "service" {
  type        = string
  description = "whose instances get the datagrams; a service with provider = nomad"
  default     = "udp-client"
}

job "allocator" {
  type        = "service"
  datacenters = ["*"]

  constraint {
    attribute = "${attr.unique.network.ip-address}"
    value     = var.address
  }

  update {
    max_parallel      = 1
    health_check      = "task_states"
    min_healthy_time  = "5s"
    healthy_deadline  = "1m"
    progress_deadline = "2m"
    auto_revert       = true
  }

  group "allocator" {
    count = 1

    restart {
      interval = "1m"
      attempts = 10
      delay    = "1s"
      mode     = "delay"
    }

    network {
      mode = "host"
      port "udp" {
        static = 5005
      }
    }

    # No check: Nomad checks by TCP or HTTP, and this speaks UDP alone. Healthy is what runs.
    service {
      provider = "nomad"
      name     = "udp-allocator"
      port     = "udp"
      tags     = ["udp"]
    }

    task "allocator" {
      driver = "exec"

      # Its own token, as NOMAD_TOKEN: what a job may read without any policy includes the services of its namespace.
      identity {
        env = true
      }

      config {
        command = "/usr/local/bin/rllb-allocator"
        args = [
          "--listen", "0.0.0.0:${NOMAD_PORT_udp}",
          "--clients", "nomad:${var.nomad}/${var.service}",
          "--source", "influx2:${var.influxdb}",
          "--org", "${var.org}",
          "--database", "${var.bucket}",
          "--policy", "awcmp",
          "--interval", "1",
          "--status", "${NOMAD_TASK_DIR}/allocator.prom",
        ]
      }

      template {
        data        = <<EOF
INFLUX_TOKEN={{ with nomadVar "nomad/jobs/allocator" }}{{ .influx_token | toJSON }}{{ end }}
EOF
        destination = "secrets/influx.env"
        env         = true
        change_mode = "restart"
      }

      kill_signal  = "SIGTERM"
      kill_timeout = "5s"

      resources {
        cpu    = 500
        memory = 128
      }
    }
  }
}
