"""The whole route table.

Paths are written in their one form, see config.paths: the middleware brings every request into it, so that each route
also answers under /api/ (and /api/trading/ for what traders have), with and without the trailing slash.
"""

from django.contrib import admin
from django.urls import include, path, re_path
from drf_spectacular.views import SpectacularJSONAPIView, SpectacularSwaggerView

from accounts.api import api_keys, competitions, ledger, portfolio, second_factor, wallet
from accounts.api import views as accounts
from config import views
from exchange.api import holdings, kill_switch, lists, margin, settlement, tickers
from exchange.api import views as exchange
from exchange.api.portfolio import MetricsView
from marketdata.api import views as marketdata
from marketdata.api.candles import CandleListView

api = [
    path("register/", accounts.RegisterView.as_view()),
    path("token/", accounts.TokenView.as_view()),
    path("token/refresh/", accounts.TokenRefreshView.as_view()),
    path("token/blacklist/", accounts.TokenBlacklistView.as_view()),
    path("me/", accounts.MeView.as_view()),
    path("me/totp/", second_factor.TotpView.as_view()),
    path("me/totp/confirm/", second_factor.TotpConfirmView.as_view()),
    path("api-keys/", api_keys.KeyListView.as_view()),
    path("api-keys/<int:key_id>/", api_keys.KeyView.as_view()),
    path("competitions/", competitions.CompetitionListView.as_view()),
    path("competitions/<int:competition_id>/", competitions.CompetitionView.as_view()),
    path("competitions/<int:competition_id>/join/", competitions.JoinView.as_view()),
    path("competitions/<int:competition_id>/leaderboard/", competitions.LeaderboardView.as_view()),
    path("wallet/", accounts.WalletView.as_view()),
    path("wallet/withdraw/", wallet.WithdrawView.as_view()),
    path("wallet/withdrawals/", wallet.WithdrawalListView.as_view()),
    path("wallet/withdrawals/<int:withdrawal_id>/", wallet.WithdrawalView.as_view()),
    path("ledger/", ledger.LedgerView.as_view()),
    path("holdings/", holdings.HoldingListView.as_view()),
    path("portfolio/summary/", portfolio.SummaryView.as_view()),
    path("portfolio/metrics/", MetricsView.as_view()),
    path("portfolio/history/", portfolio.HistoryView.as_view()),
    path("events/", accounts.EventsView.as_view()),
    path("currencies/", marketdata.AssetListView.as_view()),
    path("assets/", marketdata.AssetAliasView.as_view()),
    path("markets/", marketdata.MarketListView.as_view()),
    path("markets/<str:symbol>/", marketdata.MarketView.as_view()),
    path("candles/", CandleListView.as_view()),
    *[
        route
        for prefix in ("tickers", "stocks")
        for route in (
            path(f"{prefix}/", tickers.TickerListView.as_view()),
            path(f"{prefix}/batch/", tickers.TickerBatchView.as_view()),
            path(f"{prefix}/trending/", tickers.TrendingView.as_view()),
            path(f"{prefix}/<str:symbol>/", tickers.TickerView.as_view()),
        )
    ],
    path("orders/", exchange.OrderListView.as_view()),
    path("orders/list/", exchange.OrderHistoryView.as_view()),
    path("orders/batch/", exchange.OrderBatchView.as_view()),
    path("orders/<int:order_id>/", exchange.OrderView.as_view()),
    path("orders/<int:order_id>/cancel/", exchange.OrderCancelView.as_view()),
    path("orders/<int:order_id>/replace/", lists.OrderReplaceView.as_view()),
    path("orders/lists/", lists.OrderListsView.as_view()),
    path("orders/lists/<int:list_id>/", lists.OrderListView.as_view()),
    path("orderbook/", exchange.BookView.as_view()),
    path("orderbook/<str:symbol>/", exchange.BookOfView.as_view()),
    path("trades/", exchange.TradeListView.as_view()),
    path("trades/<int:trade_id>/", exchange.TradeView.as_view()),
    path("trades/<int:trade_id>/settle/", settlement.SettleView.as_view()),
    path("fills/", exchange.FillListView.as_view()),
    path("margin/", margin.MarginView.as_view()),
    path("margin/check/", margin.MarginCheckView.as_view()),
    path("margin/leverage/", margin.LeverageView.as_view()),
    path("positions/", margin.PositionListView.as_view()),
    path("positions/snapshot/", margin.PositionSnapshotView.as_view()),
    path("positions/close/", margin.PositionCloseView.as_view()),
    path("positions/<int:position_id>/exit/", margin.PositionExitView.as_view()),
    path("sim/fill/", margin.SimFillView.as_view()),
    path("kill-switch/", kill_switch.KillSwitchView.as_view()),
]

urlpatterns = [
    path("", views.landing),
    path("favicon.ico/", views.favicon),
    path("health/", views.health),
    path("health/ready/", views.ready),
    path("metrics/", views.metrics_page),
    path("admin/", admin.site.urls),
    path("api/v1/", include(api)),
    path("api/schema/", SpectacularJSONAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="docs"),
    re_path(r"^api/", views.UnknownRoute.as_view()),
]

handler400 = views.bad_request
handler403 = views.forbidden
handler404 = views.not_found
handler500 = views.broken
