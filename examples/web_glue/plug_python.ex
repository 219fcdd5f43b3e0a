defmodule PlugPython do
  @moduledoc """
  Requests of Plug, answered by a WSGI or ASGI application.

      forward "/app", to: PlugPython, init_opts: [app: &MyApp.python/0]

  `app` is a function that returns what `:py_web.load/1` or `:py_web.app/1` gave;
  `options`, those of `:py_web.start/3`, are a map. No `Plug.Parsers` may have read the body.

  The process of the connection does all: it passes the body on to Python, which works
  meanwhile, and sends the response when all of the body has come.

  Compiled and not run: Debian has no Plug.
  """

  require Logger

  # So many bytes of a body are passed on at a time; so long the client may be silent, and
  # the application leave them unread.
  @read [length: 65_536, read_length: 65_536, read_timeout: 60_000]
  @write_ms 60_000

  def init(options), do: options

  def call(conn, options) do
    app = Keyword.fetch!(options, :app).()

    case :py_web.start(app, request(conn), Keyword.get(options, :options, %{})) do
      {:ok, exchange} -> answer(conn, exchange)
      {:error, reason} -> failed(conn, reason)
    end
  end

  defp answer(conn, exchange) do
    conn |> upload(:py_web.body(exchange)) |> respond(exchange)
  catch
    # This process may serve another request.
    kind, reason ->
      :py_web.cancel(exchange, :failed)
      :erlang.raise(kind, reason, __STACKTRACE__)
  end

  defp upload(conn, :none), do: conn

  defp upload(conn, body) do
    case Plug.Conn.read_body(conn, @read) do
      {:more, data, conn} ->
        if write(body, data) == :ok, do: upload(conn, body), else: conn

      {:ok, data, conn} ->
        if write(body, data) == :ok, do: :py_buffer.close(body)
        conn

      {:error, reason} ->
        :py_buffer.abort(body, reason)
        conn
    end
  end

  defp write(body, data) do
    with {:error, reason} <- :py_buffer.write(body, data, @write_ms) do
      :py_buffer.abort(body, reason)
      :unwanted
    end
  end

  defp respond(conn, exchange) do
    case :py_web.next(exchange) do
      {:reply, head, body} ->
        :done = :py_web.next(exchange)
        conn |> put(head.headers) |> Plug.Conn.send_resp(head.status, body)

      {:start, head, data} ->
        # A length and chunks exclude each other.
        fields = Enum.reject(head.headers, fn {name, _} -> String.downcase(name) == "content-length" end)
        conn |> put(fields) |> Plug.Conn.send_chunked(head.status) |> rest(exchange, {:data, data})

      {:error, reason} ->
        failed(conn, reason)
    end
  end

  defp rest(conn, exchange, {:data, ""}), do: rest(conn, exchange, :py_web.next(exchange))

  defp rest(conn, exchange, {:data, data}) do
    case Plug.Conn.chunk(conn, data) do
      {:ok, conn} ->
        rest(conn, exchange, :py_web.next(exchange))

      {:error, _closed} ->
        :py_web.cancel(exchange, :client_gone)
        conn
    end
  end

  defp rest(conn, _exchange, :done), do: conn

  defp rest(_conn, _exchange, {:error, reason}),
    do: raise("the application has failed in its response: #{inspect(reason)}")

  defp failed(conn, reason) do
    Logger.error("#{conn.method} #{conn.request_path}: #{inspect(reason)}")
    Plug.Conn.send_resp(conn, 500, "The application has failed.\n")
  end

  defp put(conn, fields) do
    lower = for {name, value} <- fields, do: {String.downcase(name), value}
    Plug.Conn.prepend_resp_headers(conn, lower)
  end

  defp request(conn) do
    %{address: ip, port: port} = Plug.Conn.get_peer_data(conn)
    "HTTP/" <> version = conn |> Plug.Conn.get_http_protocol() |> to_string()

    request = %{
      method: conn.method,
      raw_path: conn.request_path,
      query_string: conn.query_string,
      http_version: version,
      scheme: to_string(conn.scheme),
      script_name: Enum.map_join(conn.script_name, &("/" <> &1)),
      headers: conn.req_headers,
      server: {conn.host, conn.port},
      client: {ip |> :inet.ntoa() |> to_string(), port}
    }

    # In HTTP/2 a body needs no header that tells of it.
    if version == "2" and conn.method not in ["GET", "HEAD"] and
         Plug.Conn.get_req_header(conn, "content-length") == [],
       do: Map.put(request, :body_length, :undefined),
       else: request
  end
end
